"""Read and change access control lists, capabilities, inode flags and labels."""

from typing import Final, NamedTuple

from rpc.arguments import PathArgs
from rpc.codec import INT64, STRING, VOID, GuestPath, Int64
from rpc.procedure import Procedure


class AclGetFileArgs(NamedTuple):
    """Carry the arguments of ``acl_get_file``."""

    path: GuestPath
    acltype: str


class AclSetFileArgs(NamedTuple):
    """Carry the arguments of ``acl_set_file``."""

    path: GuestPath
    acltype: str
    acl: str


class AclDeleteDefFileArgs(NamedTuple):
    """Carry the arguments of ``acl_delete_def_file``."""

    dir: GuestPath


class CapSetFileArgs(NamedTuple):
    """Carry the arguments of ``cap_set_file``."""

    path: GuestPath
    cap: str


class GetE2attrsArgs(NamedTuple):
    """Carry the arguments of ``get_e2attrs``, ``get_e2generation``."""

    file: GuestPath


class SetE2attrsArgs(NamedTuple):
    """Carry the arguments of ``set_e2attrs``."""

    file: GuestPath
    attrs: str
    clear: bool | None = None


class SetE2generationArgs(NamedTuple):
    """Carry the arguments of ``set_e2generation``."""

    file: GuestPath
    generation: Int64


class CopyAttributesArgs(NamedTuple):
    """Carry the arguments of ``copy_attributes``."""

    src: GuestPath
    dest: GuestPath
    all: bool | None = None
    mode: bool | None = None
    xattributes: bool | None = None
    ownership: bool | None = None


class SelinuxRelabelArgs(NamedTuple):
    """Carry the arguments of ``selinux_relabel``."""

    specfile: str
    path: GuestPath
    force: bool | None = None


class SetfilesArgs(NamedTuple):
    """Carry the arguments of ``setfiles``."""

    specfile: str
    paths: list[GuestPath]
    force: bool | None = None
    excludes: list[str] | None = None


ACL_GET_FILE: Final = Procedure(number=375, name="acl_get_file", args=AclGetFileArgs, result=STRING)
ACL_SET_FILE: Final = Procedure(number=376, name="acl_set_file", args=AclSetFileArgs, result=VOID)
ACL_DELETE_DEF_FILE: Final = Procedure(number=377, name="acl_delete_def_file", args=AclDeleteDefFileArgs, result=VOID)
CAP_GET_FILE: Final = Procedure(number=378, name="cap_get_file", args=PathArgs, result=STRING)
CAP_SET_FILE: Final = Procedure(number=379, name="cap_set_file", args=CapSetFileArgs, result=VOID)
GET_E2ATTRS: Final = Procedure(number=318, name="get_e2attrs", args=GetE2attrsArgs, result=STRING)
SET_E2ATTRS: Final = Procedure(number=319, name="set_e2attrs", args=SetE2attrsArgs, result=VOID)
GET_E2GENERATION: Final = Procedure(number=320, name="get_e2generation", args=GetE2attrsArgs, result=INT64)
SET_E2GENERATION: Final = Procedure(number=321, name="set_e2generation", args=SetE2generationArgs, result=VOID)
COPY_ATTRIBUTES: Final = Procedure(number=415, name="copy_attributes", args=CopyAttributesArgs, result=VOID)
SELINUX_RELABEL: Final = Procedure(number=467, name="selinux_relabel", args=SelinuxRelabelArgs, result=VOID)
SETFILES: Final = Procedure(number=519, name="setfiles", args=SetfilesArgs, result=VOID)
