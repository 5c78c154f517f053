"""Trust in the attributes of captions: which of them say more of their own image than of any other.

An attribute is trusted if the upper end of the interval of own - chance is below 0: own is the share of its statements
that their own image contradicts, with the audit's Wilson interval by group, and chance the share that other images
contradict. All other attributes are not trusted:

* those contradicted as often as chance, or more often;
* those with too few statements to tell, always if they are of fewer than ten groups, and those that nothing checks.
  The burden of proof lies with the caption: a wrong statement teaches the generator a wrong word, while a rarely stated
  attribute is little to lose.

Chance is taken as known. This makes the rule stricter: both shares are computed from the same statements and images,
and if captions ignore their images, the variance of their difference is that of own less that of chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from vapray.caption_audit.claims import AuditedImage
from vapray.caption_audit.findings import AttributeFindings, find
from vapray.caption_audit.proportions import Proportion
from vapray.captioning.prompt_set import PromptSet
from vapray.errors import DataError

__all__ = ["AttributeTrust", "judge_attributes"]

FEWEST_GROUPS = 10
"""Number of lesions or patients with checked statements below which interval and chance are too coarse to tell."""

Reason = Literal["better than chance", "not resolved from chance", "worse than chance", "no checked statements"]


@dataclass(frozen=True)
class AttributeTrust:
    """Trust in one attribute.

    Attributes:
        name: Attribute of the prompt set.
        contradicted: Share of the checked statements that their own image contradicts; None without such statements.
        by_chance: The same against other images.
        excess: Upper end of the interval of own - chance; None without checked statements.
        reason: Result of the comparison.
    """

    name: str
    contradicted: Proportion | None
    by_chance: float | None
    excess: float | None
    reason: Reason

    @property
    def trusted(self) -> bool:
        """True if the statements are resolved to be better than chance."""
        return self.reason == "better than chance"

    def __str__(self) -> str:
        """One line for a log: the reason and its numbers."""
        if self.contradicted is None or self.by_chance is None:
            return f"{self.name} ({self.reason})"
        found = self.contradicted
        own = f"{found.value:.0%} [{found.interval.low:.0%}, {found.interval.high:.0%}] of {found.count:,} contradicted"
        return f"{self.name} ({self.reason}: {own}, {self.by_chance:.0%} by chance)"


def judge_attributes(
    pictures: Sequence[AuditedImage], prompt_set: PromptSet, *, seed: int
) -> tuple[AttributeTrust, ...]:
    """Decide for each attribute whether captions can be trusted.

    Args:
        pictures: Audited images of the training split; held-out images must not decide what is trained on.
        prompt_set: Prompt set with the attributes.
        seed: Seed of the chance level.

    Raises:
        DataError: there are fewer than two images, or no statement of theirs could be checked.
    """
    if len(pictures) < 2:
        raise DataError(
            f"caption.trust = audited: {len(pictures)} of the audited captions are of training images, at least 2 are "
            "needed. Fix: increase caption_audit.images, or set caption.trust=all."
        )
    found = tuple(_judge(row, _groups(pictures, row.name)) for row in find(pictures, prompt_set, seed=seed).attributes)
    if all(one.contradicted is None for one in found):
        raise DataError(
            f"caption.trust = audited: no statement in the captions of {len(pictures)} training images could be "
            "checked. Fix: set caption.prompt_set to one whose attributes are measured, or caption.trust=all."
        )
    return found


def _groups(pictures: Sequence[AuditedImage], name: str) -> int:
    return len({one.group for one in pictures if name in one.said and name in one.known})


def _judge(row: AttributeFindings, groups: int) -> AttributeTrust:
    own, chance = row.contradicted, row.by_chance
    if own is None or chance is None:
        return AttributeTrust(row.name, None, None, None, "no checked statements")
    excess = own.interval.high - chance
    if excess < 0 and groups >= FEWEST_GROUPS:
        reason: Reason = "better than chance"
    else:
        reason = "worse than chance" if own.interval.low > chance else "not resolved from chance"
    return AttributeTrust(row.name, own, chance, excess, reason)
