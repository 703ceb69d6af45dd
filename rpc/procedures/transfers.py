"""Move files between host and guest."""

from typing import Final, NamedTuple

from rpc.codec import VOID, DeviceOrPath, Int64
from rpc.procedure import Procedure, Transfer


class RemoteFileArgs(NamedTuple):
    """Carry the arguments of ``upload``, ``download``."""

    remotefilename: DeviceOrPath


class UploadOffsetArgs(NamedTuple):
    """Carry the arguments of ``upload_offset``."""

    remotefilename: DeviceOrPath
    offset: Int64


class DownloadOffsetArgs(NamedTuple):
    """Carry the arguments of ``download_offset``."""

    remotefilename: DeviceOrPath
    offset: Int64
    size: Int64


UPLOAD: Final = Procedure(number=66, name="upload", args=RemoteFileArgs, result=VOID, transfer=Transfer.FILE_IN)
DOWNLOAD: Final = Procedure(number=67, name="download", args=RemoteFileArgs, result=VOID, transfer=Transfer.FILE_OUT)
UPLOAD_OFFSET: Final = Procedure(
    number=273, name="upload_offset", args=UploadOffsetArgs, result=VOID, transfer=Transfer.FILE_IN
)
DOWNLOAD_OFFSET: Final = Procedure(
    number=274, name="download_offset", args=DownloadOffsetArgs, result=VOID, transfer=Transfer.FILE_OUT
)
