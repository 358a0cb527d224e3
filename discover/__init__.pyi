from discover.comparison import compare as compare
from discover.inference import infer as infer
from discover.inference.regressor import RuleRegressor as RuleRegressor
from discover.rule import Rule as Rule
from discover.tasks.base import Task as Task
from pipelines.study import Study as Study
from pipelines.study import open_study as open_study
from pipelines.study import run as run
from sims.circuit import Circuit as Circuit

__version__: str
