# The commands of this project. Each one installs what it needs and may be run on a fresh Debian machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A module's tests stay together, for what it makes once is dear; some gigabytes of memory for each process.
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

SYSTEM_PACKAGES := qemu-system-x86 qemu-utils fuse3 libfuse3-dev e2fsprogs fdisk rsync gcc pkg-config python3-dev python3-venv
TEST_PACKAGES := debootstrap xfsprogs btrfs-progs dosfstools mtools ntfs-3g attr acl libcap2-bin cryptsetup-bin \
	erofs-utils exfatprogs f2fs-tools genisoimage jfsutils makefs nilfs-tools reiserfsprogs squashfs-tools udftools xorriso \
	qemu-block-extra dropbear-bin openssh-client openssh-sftp-server libvirt-clients \
	bzip2 db-util file lzop rpm xz-utils guestfish guestfsd guestmount libguestfs-tools libguestfs-xfs python3-guestfs supermin

DIFFERENT_WHEN_BOOTED := guestmount_py inspection/test_systems.py system/test_bad_input.py system/test_death.py

.PHONY: setup demo test test-booting test-long lint bench clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt Makefile tools/install-debian-packages
	tools/install-debian-packages $(SYSTEM_PACKAGES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/python -m demo

test: setup
	tools/install-debian-packages $(TEST_PACKAGES)
	$(PYTEST)

# What the appliance's start is decisive for, with one that is booted instead of restored; tests/appliance tries both by
# itself. What is written, and what programs do to filesystems, once it runs, is the same.
test-booting: setup
	tools/install-debian-packages $(TEST_PACKAGES)
	GUESTMOUNT_PY_TEMPLATE=0 $(PYTEST) -m appliance $(addprefix tests/,$(DIFFERENT_WHEN_BOOTED))

# The tests that take chances, with as many of them under emulation as without; all formats of all filesystems; all that
# is compared with libguestfs's own appliance. Some hours.
test-long: setup
	tools/install-debian-packages $(TEST_PACKAGES)
	GUESTMOUNT_PY_LONG=1 $(PYTEST) tests/posix tests/writing tests/system/test_fidelity.py tests/interoperability tests/formats/test_list.py \
		tests/stacks/test_keys.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) build ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
