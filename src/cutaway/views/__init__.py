"""Results as HTML: views that stand alone in a notebook, and pages made of them.

Views know results, never models.
"""

from .attention import AttentionExample as AttentionExample
from .attention import AttentionView as AttentionView
from .bars import Bar as Bar
from .bars import BarsView as BarsView
from .circuit_graph import CircuitGraphView as CircuitGraphView
from .coloured_tokens import ColouredTokensView as ColouredTokensView
from .curve import CurveSeries as CurveSeries
from .curve import CurveView as CurveView
from .dose_response import DoseLine as DoseLine
from .dose_response import DoseResponseView as DoseResponseView
from .dots import DotsView as DotsView
from .heatmap import HeatmapView as HeatmapView
from .ioi_report import ioi_report as ioi_report
from .key_numbers import KeyNumber as KeyNumber
from .key_numbers import KeyNumbers as KeyNumbers
from .layout import Beside as Beside
from .layout import Disclosure as Disclosure
from .layout import Items as Items
from .layout import Note as Note
from .layout import Prose as Prose
from .layout import Section as Section
from .lens_grid import LensGridView as LensGridView
from .matrices import MatricesView as MatricesView
from .matrices import Matrix as Matrix
from .page import Page as Page
from .planes import Plane as Plane
from .planes import PlanesView as PlanesView
from .table import Column as Column
from .table import Share as Share
from .table import TableView as TableView
from .token_scatter import TokenDot as TokenDot
from .token_scatter import TokenScatterView as TokenScatterView
from .tokens import TokenLine as TokenLine
from .tokens import TokensView as TokensView
from .view import View as View
