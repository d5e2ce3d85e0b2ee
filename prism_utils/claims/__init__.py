"""The paper's claims, each with what was measured and a verdict; findings in a reader's words.

`paper` holds what is printed, `judges` the verdicts, `findings` what a reader should take away.
"""

from .evidence import COLUMNS, Evidence, Finding, Missing
from .judges import computation, judge
from .mechanism import trainings
from .register import CLAIMS_PAGE
