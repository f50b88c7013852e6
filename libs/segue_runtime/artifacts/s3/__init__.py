"""The artifact store in a bucket of S3 or of a compatible store. Importing it needs the extra `s3`."""

from segue_runtime.artifacts.s3.store import S3Artifacts

__all__ = ["S3Artifacts"]
