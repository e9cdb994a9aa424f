"""Makes the digests of common passwords: `tools/make_common_passwords.py LIST`, with a password a line."""

import sys
from pathlib import Path

from rest_api.users import common_passwords
from rest_api.users.passwords import MIN_LENGTH, bare

TARGET = Path(common_passwords.__file__).with_name("digests.bin")


def main(listed: Path) -> None:
    passwords = {bare(line) for line in listed.read_text(encoding="utf-8", errors="replace").splitlines()}
    digests = sorted({common_passwords.digest_of(each) for each in passwords if len(each) >= MIN_LENGTH})
    TARGET.write_bytes(b"".join(digests))
    print(f"{len(digests):,} passwords in {TARGET}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
