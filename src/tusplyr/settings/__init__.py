"""What an operator can choose: one table, four sources, every mistake told at once."""

from tusplyr.settings.kinds import Secret
from tusplyr.settings.sources import LISTENING, STORING, BadSettings, Rule, load
from tusplyr.settings.table import PREFIX, TABLE, Setting, Settings

__all__ = ["LISTENING", "PREFIX", "STORING", "TABLE", "BadSettings", "Rule", "Secret", "Setting", "Settings", "load"]
