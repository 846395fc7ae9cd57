"""What the rules of a bucket do to what is published: which of it they delete, and who may read it by script.

Owns what each rule means for an operator. Must not know how a bucket is written to. Invariant: it reads, and nothing
else; credentials that may not see the rules are no failure.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from botocore.exceptions import ClientError
from msgspec import Struct

from tusplyr.core.findings import Finding, Verdict
from tusplyr.stores.s3_errors import FOREIGN, UNKNOWN_CONDITION, code_of

OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL
EARLY = 2  # days after which aborting unfinished transfers may hit one that is only slow
FORBIDDEN = frozenset({"403", "AccessDenied", "Unauthorized"})
ABORT = "Add a rule that aborts unfinished multipart uploads after 7 days."
UNABORTED = "no rule aborts unfinished transfers: lost ones would be paid for"
READ = "Allow GET and HEAD from the origins of your pages in the CORS rules of the bucket, or DOWNLOADS=stream."
UNREAD = "scripts of pages may not read what they are redirected to"


class Ruled(Struct, frozen=True):
    """A bucket whose rules are looked at.

    Attributes:
        client: boto3's.
        bucket: its name.
        places: what the keys in it that are ours begin with.
    """

    client: Any
    bucket: str
    places: Sequence[str]

    def found(self, verdict: Verdict, text: str, change: str = "") -> Finding:
        """Say something about it."""
        return Finding(verdict, f"bucket {self.bucket}", text, change)


def lifecycle(ruled: Ruled) -> Iterator[Finding]:
    """See what is deleted, and what becomes of unfinished transfers."""
    try:
        rules = ruled.client.get_bucket_lifecycle_configuration(Bucket=ruled.bucket).get("Rules", ())
    except ClientError as error:
        yield from _without_lifecycle(ruled, code_of(error))
        return
    except FOREIGN:
        return
    rules = [rule for rule in rules if rule.get("Status") == "Enabled"]
    for rule in rules:
        if _expires(rule, ruled.places):
            text = f"its lifecycle rule {rule.get('ID', 'without a name')} deletes what is published"
            change = f"Let no rule but one for unfinished transfers touch {', '.join(ruled.places)}."
            yield ruled.found(FAIL, text, change)
    yield _unfinished(ruled, rules)


def _without_lifecycle(ruled: Ruled, code: str) -> Iterator[Finding]:
    if code in UNKNOWN_CONDITION:
        text = "it knows no lifecycle rules: none deletes what is published, and none aborts unfinished transfers"
        yield ruled.found(OK, text)
    elif code in FORBIDDEN:
        text = "the credentials may not see the rules for unfinished transfers (they need not)"
        yield ruled.found(OK, f"{text}; R2 has one of 7 days by itself, AWS none")
    elif code in {"NoSuchLifecycleConfiguration", "404"}:
        yield ruled.found(WARN, UNABORTED, ABORT)


def _unfinished(ruled: Ruled, rules: Sequence[dict[str, Any]]) -> Finding:
    days = [
        rule["AbortIncompleteMultipartUpload"].get("DaysAfterInitiation", 0)
        for rule in rules
        if "AbortIncompleteMultipartUpload" in rule and all(place.startswith(_reaches(rule)) for place in ruled.places)
    ]
    if not days:
        return ruled.found(WARN, UNABORTED, ABORT)
    if min(days) < EARLY:
        text = f"unfinished transfers are aborted after {min(days)} day; what takes longer begins again"
        return ruled.found(WARN, text, "Give them 7 days.")
    return ruled.found(OK, f"unfinished transfers are aborted after {min(days)} days")


def _expires(rule: dict[str, Any], places: Sequence[str]) -> bool:
    """Say whether a rule deletes content of ours in time. Ours has no tags."""
    dated = rule.get("Expiration", {}).keys() & {"Days", "Date"}
    filtered = rule.get("Filter") or {}
    tagged = "Tag" in filtered or (filtered.get("And") or {}).get("Tags")
    at = _reaches(rule)
    return bool(dated) and not tagged and any(at.startswith(place) or place.startswith(at) for place in places)


def _reaches(rule: dict[str, Any]) -> str:
    """Return the prefix of the keys that a lifecycle rule is about; it may be written in three places."""
    filtered = rule.get("Filter") or {}
    return str(rule.get("Prefix") or filtered.get("Prefix") or (filtered.get("And") or {}).get("Prefix") or "")


def cors(ruled: Ruled) -> Iterator[Finding]:
    """See whether pages may read by script what they are redirected to."""
    try:
        rules = ruled.client.get_bucket_cors(Bucket=ruled.bucket).get("CORSRules", ())
    except ClientError as error:
        yield _without_cors(ruled, code_of(error))
        return
    except FOREIGN:
        return
    if any("GET" in rule.get("AllowedMethods", ()) for rule in rules):
        yield ruled.found(OK, "CORS rules let pages read")
    else:
        yield ruled.found(WARN, "no CORS rule allows GET", READ)


def _without_cors(ruled: Ruled, code: str) -> Finding:
    if code in UNKNOWN_CONDITION:
        text = "it knows no CORS rules of a bucket, so its own settings say whether scripts of pages may read"
        return ruled.found(WARN, text, "Allow your pages to read in the settings of that server, or DOWNLOADS=stream.")
    if code in {"NoSuchCORSConfiguration", "404"}:
        return ruled.found(WARN, f"no CORS rules: {UNREAD}", READ)
    text = "the credentials may not see the CORS rules (they need not), which say whether scripts of pages may read"
    return ruled.found(WARN, text, READ)
