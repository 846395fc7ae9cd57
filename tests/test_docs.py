"""The documents that are generated are those that the code would generate now."""

from pathlib import Path

from tusplyr.settings import TABLE
from tusplyr.settings.reference import reference

DOCS = Path(__file__).parents[1] / "docs"


def test_settings_page_is_up_to_date():
    assert (DOCS / "settings.md").read_text() == reference(), "run: tusplyr settings-reference > docs/settings.md"


def test_settings_page_names_every_setting_in_each_of_its_spellings():
    page = reference()
    for row in TABLE:
        assert f"`{row.flag}` · `{row.variable}` · `{row.name}`" in page
        assert row.doc in page
        assert row.doc.endswith(".")
        assert row.doc.count(". ") == 0, "one sentence"
