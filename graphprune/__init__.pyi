from .errors import GraphpruneError as GraphpruneError
from .evaluation.side_by_side import EvaluationOptions as EvaluationOptions
from .ir.loading import load as load
from .passes.allocate import Allocate as Allocate
from .passes.amp import AMP as AMP
from .passes.expert_use import ExpertUse as ExpertUse
from .passes.filter_cka import FilterCKA as FilterCKA
from .passes.filter_kl import FilterKL as FilterKL
from .passes.filter_magnitude import FilterMagnitude as FilterMagnitude
from .passes.filter_obs import FilterOBS as FilterOBS
from .passes.filter_pls_vip import FilterPLSVIP as FilterPLSVIP
from .passes.head_projection import HeadProjection as HeadProjection
from .passes.joint_cka import JointCKA as JointCKA
from .passes.layer_angular import LayerAngular as LayerAngular
from .passes.layer_cka import LayerCKA as LayerCKA
from .passes.layer_consensus import LayerConsensus as LayerConsensus
from .passes.layer_kl import LayerKL as LayerKL
from .passes.layer_magnitude import LayerMagnitude as LayerMagnitude
from .passes.mop import MoP as MoP
from .passes.neuron_projection import NeuronProjection as NeuronProjection
from .pipeline.apply import apply as apply
from .pipeline.benchmark import benchmark as benchmark
from .pipeline.evaluate import evaluate as evaluate
from .pipeline.inspect import inspect as inspect
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
