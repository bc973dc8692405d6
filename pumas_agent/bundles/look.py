"""Owns one look at a bundle: the verdict, and the signature under which that verdict stays true."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pumas_agent.bundles.beside import folders_beside
from pumas_agent.bundles.fingerprint import StatSignature
from pumas_agent.bundles.identity import digest_of
from pumas_agent.bundles.policy import Policy
from pumas_agent.bundles.validator import judge
from pumas_agent.bundles.walk import Stat, Tree, walk
from pumas_agent.contracts.bundles import BundleReport
from pumas_agent.contracts.metadata import MountFacts
from pumas_agent.mounts import Mount, mount_of, uuid_of

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Look:
    """What was found, and how long it may be believed."""

    report: BundleReport
    signature: StatSignature | None
    """None when the bundle did not hold still for as long as a look takes."""
    racy: bool
    """Something changed so shortly before the look that the signature may not tell a further change."""
    local: bool
    """Everything lies on the root's own device, and that is a filesystem of this machine: `stat` does not wait."""
    beside: tuple[str, ...] | None
    """Folders outside the root that the verdict depends on; None when watching folders tells not of every change."""
    mount: MountFacts | None
    """The filesystem that holds the root."""
    inode: int | None
    """Of the root, where such numbers last."""
    judged_at: str
    """RFC 3339, UTC."""

    @property
    def settling(self) -> bool:
        """The bundle is being written right now."""
        return self.signature is None

    def to_fields(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {
            "report": self.report.model_dump(mode="json"),
            "signature": None if self.signature is None else self.signature.to_json(),
            "racy": self.racy,
            "local": self.local,
            "beside": self.beside,
            "mount": None if self.mount is None else self.mount.model_dump(mode="json"),
            "inode": self.inode,
            "judged_at": self.judged_at,
        }

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Self:
        """The look that `to_fields` gave."""
        signature = fields["signature"]
        return cls(
            report=BundleReport.model_validate(fields["report"]),
            signature=None if signature is None else StatSignature.from_json(signature),
            racy=fields["racy"],
            local=fields["local"],
            beside=None if fields["beside"] is None else tuple(fields["beside"]),
            mount=None if fields["mount"] is None else MountFacts.model_validate(fields["mount"]),
            inode=fields["inode"],
            judged_at=fields["judged_at"],
        )


def look(root: Path, policy: Policy | None = None) -> Look:
    """Judge the bundle at `root` between two signatures that agree; blocks on the disk, raises nothing for it."""
    policy = policy or Policy()
    for _ in range(ATTEMPTS):
        taken_ns = time.time_ns()
        tree = walk(root)
        signature = StatSignature.of(tree)
        report = judge(tree, policy).model_copy(update={"identity": digest_of(tree)})
        if settled := signature.unchanged():
            break
    mount = mount_of(tree.root)
    local = signature.one_device and mount is not None and mount.is_local
    return Look(
        report=report,
        signature=signature if settled else None,
        racy=signature.is_racy(taken_ns, local=local),
        local=local,
        beside=folders_beside(tree),
        mount=_facts_of(mount, tree.root),
        inode=_inode_of(tree, mount),
        judged_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )


def _facts_of(mount: Mount | None, root: Path) -> MountFacts | None:
    """What is kept of the mount; nothing of one that does not hold the path, as that of a btrfs subvolume."""
    place = str(root)
    point = mount.point.rstrip("/") if mount is not None else ""
    if mount is None or (place != mount.point and not place.startswith(point + "/")):
        return None
    path = place[len(point) :].lstrip("/")
    return MountFacts(point=mount.point, kind=mount.kind, source=mount.source, uuid=uuid_of(mount), path=path)


def _inode_of(tree: Tree, mount: Mount | None) -> int | None:
    status = tree.entries[0][1]
    return status.ino if isinstance(status, Stat) and mount is not None and mount.is_local else None
