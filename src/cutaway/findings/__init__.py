"""What was found: runs, with all that is needed to repeat them, and predictions, graded."""

from .claims import PredictionError as PredictionError
from .digests import settings_digest as settings_digest
from .expectations import Comparison as Comparison
from .expectations import Expectation as Expectation
from .prediction_scores import Calibration as Calibration
from .prediction_scores import calibration as calibration
from .predictions import Prediction as Prediction
from .predictions import list_predictions as list_predictions
from .predictions import predict as predict
from .run import Run as Run
from .run import RunError as RunError
from .run import list_runs as list_runs
from .run import load_run as load_run
from .run import run_table as run_table
from .run_folder import RunFolder as RunFolder
