"""What an operator can choose: one table, four sources, every mistake told at once."""

from tusplyr.settings.kinds import Secret
from tusplyr.settings.sources import EXPOSURE, BadSettings, Rule, load
from tusplyr.settings.table import PREFIX, TABLE, Setting, Settings

__all__ = ["EXPOSURE", "PREFIX", "TABLE", "BadSettings", "Rule", "Secret", "Setting", "Settings", "load"]
