"""What was found: run folders with everything needed to repeat a run, and expectations graded."""

from .expectations import Comparison as Comparison
from .expectations import Prediction as Prediction
from .run import Run as Run
from .run import RunError as RunError
from .run import list_runs as list_runs
from .run import load_run as load_run
from .run import run_table as run_table
from .run_folder import RunFolder as RunFolder
