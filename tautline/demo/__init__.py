"""`tautline demo`: one whole call on this machine, heard, shown and measured.

Tautline itself and both simulators run in one process on free ports; nothing leaves the machine unless `--live` sends
the call to the real OpenAI. The caller's voice and the simulated model's are recordings that lie in the repository,
synthesised with espeak-ng.
"""

from tautline.demo.run import demo

__all__ = ["demo"]
