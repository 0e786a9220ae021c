"""Our scenarios: stories of real calls, each with what must be true at its end, by what they are about."""

from benchmarks.scenarios.scenario import Scenario
from benchmarks.scenarios.stories.line import LINE
from benchmarks.scenarios.stories.model import MODEL
from benchmarks.scenarios.stories.patience import PATIENCE
from benchmarks.scenarios.stories.policies import POLICIES
from benchmarks.scenarios.stories.tools import TOOLS
from benchmarks.scenarios.stories.upstream import UPSTREAM
from benchmarks.scenarios.stories.voice import VOICE

STORIES: tuple[Scenario, ...] = (*VOICE, *POLICIES, *MODEL, *UPSTREAM, *TOOLS, *LINE, *PATIENCE)
