"""The table of the protocol's rules, the tests that name them and the page that shows both agree."""

from collections import Counter

from rig.conformance import ID, PAGE, ROOT, held, named, page, rules, sources

TEXTS = [*sources(), *sorted((ROOT / "src").rglob("*.py")), *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == page(), "run: make docs"


def test_every_rule_has_one_row():
    assert [number for number, times in Counter(rule.id for rule in rules()).items() if times > 1] == []


def test_every_rule_that_binds_us_is_held_by_a_test():
    holders = held()
    assert [rule.id for rule in rules() if rule.needs_a_test and rule.id not in holders] == []


def test_every_id_that_is_named_is_a_rule():
    known = {rule.id for rule in rules()}
    unknown = {str(text.relative_to(ROOT)): set(ID.findall(text.read_text())) - known for text in TEXTS}
    assert {name: ids for name, ids in unknown.items() if ids} == {}


def test_ids_are_found_wherever_a_test_may_name_them():
    source = '''
"""Of the file: TM-01."""
TABLE = [1]  # no id of a test
IDS = ["C-02 a", "C-03"]

# Above: C-04.
@pytest.mark.parametrize("x", [pytest.param(1, id="C-05"), *IDS], ids=lambda x: f"C-06 {x}")
def test_c_07_the_name_and_d_08():
    """C-09."""
    x = 1  # C-10


# C-11, but of nobody.

def test_other(): ...
'''
    ids = {"C-02", "C-03", "C-04", "C-05", "C-06", "C-07", "D-08", "C-09", "C-10"}
    assert dict(named(source)) == {"test_c_07_the_name_and_d_08": ids, "test_other": set()}
