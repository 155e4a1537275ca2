"""Signatures and keys on which libraries are known to differ.

Made by `python -m tests.vectors.make_signatures`.

Each signature with its key and message, and whether it is accepted; each key, and whether it is of prime order.
"""

from typing import Final

SIGNATURES: Final = (
    (
        "honest",
        bytes.fromhex("ff6f43ab4e72e31b78049fcc5f97455becdd0ea428c1fd6c7a0fc66e991c7cb9"),
        bytes.fromhex("6c756f68753a207768696368207369676e61747572657320617265206163636570746564"),
        bytes.fromhex(
            "4abf71bd3fa09e0123438a8d93758aed670cb7dc7a5ecba0a1b0b33c2800557fb5cb95ff87ebb74a57e832f2d9637e0f035bf04e2ce68d8831a676df88ca4a05"
        ),
        True,
    ),
    (
        "honest, of another message",
        bytes.fromhex("ff6f43ab4e72e31b78049fcc5f97455becdd0ea428c1fd6c7a0fc66e991c7cb9"),
        bytes.fromhex("6c756f68753a207768696368207369676e617475726573206172652061636365707465642e"),
        bytes.fromhex(
            "4abf71bd3fa09e0123438a8d93758aed670cb7dc7a5ecba0a1b0b33c2800557fb5cb95ff87ebb74a57e832f2d9637e0f035bf04e2ce68d8831a676df88ca4a05"
        ),
        False,
    ),
    (
        "S beyond the group's order",
        bytes.fromhex("ff6f43ab4e72e31b78049fcc5f97455becdd0ea428c1fd6c7a0fc66e991c7cb9"),
        bytes.fromhex("6c756f68753a207768696368207369676e61747572657320617265206163636570746564"),
        bytes.fromhex(
            "4abf71bd3fa09e0123438a8d93758aed670cb7dc7a5ecba0a1b0b33c2800557fa29f8b5ca24ecaa22d852a95b85d5d24035bf04e2ce68d8831a676df88ca4a15"
        ),
        False,
    ),
    (
        "key and R of small order",
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        bytes.fromhex("6c756f68753a207768696368207369676e617475726573206172652061636365707465640000"),
        bytes.fromhex(
            "01000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        ),
        False,
    ),
    (
        "key of small order",
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        bytes.fromhex("6c756f68753a207768696368207369676e617475726573206172652061636365707465640600"),
        bytes.fromhex(
            "e80f46f6adefb35dbbe05c893bebf791d5a23ca5c8dcec5835a8582828bb9cd1f2a62d78d204f9f413ce0336eadc3a51be84e0140e68aaf0642d16cfd0706e03"
        ),
        False,
    ),
    (
        "R of small order",
        bytes.fromhex("bf0897a61d855442ee8ea10d40d5e4295cf6a0f9a153daecf3f162db13f2950a"),
        bytes.fromhex("6c756f68753a207768696368207369676e617475726573206172652061636365707465640100"),
        bytes.fromhex(
            "0000000000000000000000000000000000000000000000000000000000000080034b8a1637338c4a83c610ef10a26239bf2d29d26e500b1295d2aa07872ff700"
        ),
        False,
    ),
    (
        "R that is not canonical",
        bytes.fromhex("ff6f43ab4e72e31b78049fcc5f97455becdd0ea428c1fd6c7a0fc66e991c7cb9"),
        bytes.fromhex("6c756f68753a207768696368207369676e61747572657320617265206163636570746564"),
        bytes.fromhex(
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7faf664b78f1c5118d4136d2a7d34f13e39ca815257b24be36e6cf06423ecd8c08"
        ),
        False,
    ),
    (
        "key that is not canonical",
        bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        bytes.fromhex("6c756f68753a207768696368207369676e61747572657320617265206163636570746564"),
        bytes.fromhex(
            "30cf217af8e0e41b85cb4478e7229f9a8b99e2ff3acbb1edbf529cd17b7eec65f2a62d78d204f9f413ce0336eadc3a51be84e0140e68aaf0642d16cfd0706e03"
        ),
        False,
    ),
    (
        "key with a torsion of 2 that the challenge does not cancel",
        bytes.fromhex("ee8fbc54b18d1ce487fb6033a068baa41322f15bd73e029385f0399166e38346"),
        bytes.fromhex("6c756f68753a207768696368207369676e61747572657320617265206163636570746564"),
        bytes.fromhex(
            "fd1398dc883f84fe179906261b71bc83764c0bedcf8638033ffebe7354d4d42b3e47c1d8f6476a605902092c9ff62329e7e7a12268e3e12ad4d40881e053e105"
        ),
        False,
    ),
    (
        "key with a torsion of 2 that the challenge cancels",
        bytes.fromhex("ee8fbc54b18d1ce487fb6033a068baa41322f15bd73e029385f0399166e38346"),
        bytes.fromhex("6c756f68753a207768696368207369676e61747572657320617265206163636570746564"),
        bytes.fromhex(
            "a38bc0cd0f6277265b1941e3cd07a0a8e10debf28b03591a17aac65ccc0396f47b2feae1aee5ddf9a7b474081b3ccf775b9a859301ed1e890f01be3600e0dc01"
        ),
        True,
    ),
    (
        "R with a torsion of 2",
        bytes.fromhex("ff6f43ab4e72e31b78049fcc5f97455becdd0ea428c1fd6c7a0fc66e991c7cb9"),
        bytes.fromhex("6c756f68753a207768696368207369676e61747572657320617265206163636570746564"),
        bytes.fromhex(
            "0fbb5ca5bd0b6fd1104aca834196b1b29e5dd307eaa355934af10d336e95a97bc49a6759d2cfc559ec870952a13c2489acefbc5797b665c4892e8d7f2c95ec0a"
        ),
        False,
    ),
    (
        "key with a torsion of 4 that the challenge does not cancel",
        bytes.fromhex("0db520f862f1c91780eb4905261421b30428f8a158473ef9fcb6491d5aaac9c5"),
        bytes.fromhex("6c756f68753a207768696368207369676e61747572657320617265206163636570746564"),
        bytes.fromhex(
            "3818c8b9f5e060d3f5891173de5593fce674c75948cd7d6c43f7c6bde7e1919ffb390047596916c3c94eb48be7531b76b4913bee9cc24ac293331f441dc57007"
        ),
        False,
    ),
    (
        "key with a torsion of 4 that the challenge cancels",
        bytes.fromhex("0db520f862f1c91780eb4905261421b30428f8a158473ef9fcb6491d5aaac9c5"),
        bytes.fromhex("6c756f68753a207768696368207369676e61747572657320617265206163636570746564"),
        bytes.fromhex(
            "ab32ccf76d18254bf4e69a5a4c0cc88d6b5bad557bdeb321969cef2086ea922b60a263719d7c9683dd7d208ec6eac76f42b8fa04e6f720e4f1ed888033dfd605"
        ),
        True,
    ),
    (
        "R with a torsion of 4",
        bytes.fromhex("ff6f43ab4e72e31b78049fcc5f97455becdd0ea428c1fd6c7a0fc66e991c7cb9"),
        bytes.fromhex("6c756f68753a207768696368207369676e61747572657320617265206163636570746564"),
        bytes.fromhex(
            "3c8a0b59d58274761220270d3a040c2de3953fbae86c9539d90d2862136b748bbb42c97622642337fa6112b4fe786aa84b7e82958c8f3b2ebabb4e702b53880d"
        ),
        False,
    ),
    (
        "key with a torsion of 8 that the challenge does not cancel",
        bytes.fromhex("bf0897a61d855442ee8ea10d40d5e4295cf6a0f9a153daecf3f162db13f2950a"),
        bytes.fromhex("6c756f68753a207768696368207369676e61747572657320617265206163636570746564"),
        bytes.fromhex(
            "014b6939d3871d26708c6b983bdb60f8b0f234da3f57b7791290aaa7c2ae1c7ad3c03ea6c95ffe2e91783e2f4088d6e7f46a80249aacf3ae2aa47c9bec072701"
        ),
        False,
    ),
    (
        "key with a torsion of 8 that the challenge cancels",
        bytes.fromhex("bf0897a61d855442ee8ea10d40d5e4295cf6a0f9a153daecf3f162db13f2950a"),
        bytes.fromhex("6c756f68753a207768696368207369676e61747572657320617265206163636570746564"),
        bytes.fromhex(
            "249b3478e212be8eb6feda1a67f79e648d2e03331d88851168c6bf9dd2c844e4c6176183a15ef6ae603c42e8a834db648c78ee0c967fc097af39581a61b61108"
        ),
        True,
    ),
    (
        "R with a torsion of 8",
        bytes.fromhex("ff6f43ab4e72e31b78049fcc5f97455becdd0ea428c1fd6c7a0fc66e991c7cb9"),
        bytes.fromhex("6c756f68753a207768696368207369676e61747572657320617265206163636570746564"),
        bytes.fromhex(
            "999c25f4ddf3d36051882a30d70c58c77e5f3970024c201a1b8c04b1c80bf2f8990460b315f70414775aade85dc20b4c421d9de2dd582cba2973fdf0b8e93009"
        ),
        False,
    ),
)
"""Name, 32-byte key, message, 64-byte signature, and whether it is accepted."""

KEYS: Final = (
    ("honest", bytes.fromhex("ff6f43ab4e72e31b78049fcc5f97455becdd0ea428c1fd6c7a0fc66e991c7cb9"), True),
    (
        "the neutral element",
        bytes.fromhex("0100000000000000000000000000000000000000000000000000000000000000"),
        False,
    ),
    ("of order 2", bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"), False),
    (
        "with a torsion of 2",
        bytes.fromhex("ee8fbc54b18d1ce487fb6033a068baa41322f15bd73e029385f0399166e38346"),
        False,
    ),
    ("of order 4", bytes.fromhex("0000000000000000000000000000000000000000000000000000000000000080"), False),
    (
        "with a torsion of 4",
        bytes.fromhex("0db520f862f1c91780eb4905261421b30428f8a158473ef9fcb6491d5aaac9c5"),
        False,
    ),
    ("of order 8", bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), False),
    (
        "with a torsion of 8",
        bytes.fromhex("bf0897a61d855442ee8ea10d40d5e4295cf6a0f9a153daecf3f162db13f2950a"),
        False,
    ),
    (
        "not canonical",
        bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        False,
    ),
    (
        "not on the curve",
        bytes.fromhex("0200000000000000000000000000000000000000000000000000000000000000"),
        False,
    ),
)
"""Name, 32-byte key, and whether it is of prime order."""
