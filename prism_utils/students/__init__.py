"""Students: compact models that learn to explain from a teacher's explanations."""
