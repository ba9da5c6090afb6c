"""What `verify` may find wrong: a stable code, where, what, and what to do. Pure."""

from dataclasses import dataclass

# A closed set, shown in docs/reference.md (a test compares). The first column of a line that `verify` prints.
FINDINGS = {
    "OwnerMissing": "releases are served, but this root has lost its owner mark: nothing here can be known as ours",
    "CatalogBroken": "Foundry Local's catalog cannot be read",
    "RegistrationElsewhere": "a registration of ours does not point at its served folder",
    "RegistrationDamaged": "a runtime does not have a registration of ours, or not as it was given",
    "RegistrationDangling": "a registration of ours points at nothing",
    "RegistrationDisagrees": "a registration of ours disagrees with the release.json behind it",
    "RegistrationUnmarked": "a registration without our mark points into our served folders",
    "ServedFolderDamaged": "a file of a served folder is missing, changed or foreign",
    "ReleaseUnreadable": "release.json of a served folder is missing, damaged or of another release",
    "ReleaseInconsistent": "release.json contradicts itself: its digests do not follow from its parts",
    "OwnerDisagrees": "a served folder carries the mark of another owner",
    "FolderUnregistered": "a served folder of ours has no registration",
    "ServedForeign": "something below served/ is no release folder",
    "ArtifactMissing": "a served release was made from an artifact that the store does not hold",
    "StoreUnreadable": "oci-layout or index.json of the store is missing or unreadable",
    "ManifestDamaged": "a manifest that the store's index names is missing, damaged or not what the index says",
    "BlobMissing": "a blob that a manifest names is not there",
    "BlobDamaged": "the bytes of a blob are not those of its name",
    "BlobUnreferenced": "nothing names this blob",
    "BlobForeign": "something among the blobs is no blob",
    "SourceDamaged": "the files of a source from the hub are not those that it is named after",
    "MirrorDamaged": "git finds the mirror of the repository damaged, or cannot check it",
    "ExportDamaged": "a model folder written out of the repository is not the tree that it is named after",
    "FolderLinked": "a folder of ours is a link: what it leads to may be another's, and is never freed",
    "RecordDamaged": "a record cannot be trusted: it does not match its own digest",
    "EventsTorn": "the last line of the log of events was cut off: that event is lost, and nothing else",
    "RecordDisagrees": "the records claim a release that is not served",
    "LeftOver": "what a process that died left half-made",
}


@dataclass(frozen=True)
class Finding:
    """`where` is a path below the root, an id or a digest."""

    code: str
    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.code}: {self.where}: {self.message}"
