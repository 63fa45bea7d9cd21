from .errors import GraphpruneError as GraphpruneError
from .ir.loading import load as load
from .passes.layer_cka import LayerCKA as LayerCKA
from .pipeline.apply import apply as apply
from .pipeline.prune import prune as prune
from .plan.plan import Plan as Plan
from .plan.target import Target as Target
from .report.result import Result as Result
from .run.options import DataOptions as DataOptions
from .run.options import RecoveryOptions as RecoveryOptions
from .run.options import RunOptions as RunOptions
from .run.options import TimingOptions as TimingOptions
from .run.options import WorkerOptions as WorkerOptions
from .runtime.sessions import RuntimeOptions as RuntimeOptions
from .text.options import TextOptions as TextOptions

__all__: list[str]
__version__: str
