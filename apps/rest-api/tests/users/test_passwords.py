import asyncio
import threading
from bisect import bisect_left
from collections.abc import AsyncIterator
from unittest.mock import patch

import pytest
from argon2 import extract_parameters
from book_runtime.tasks import background
from hypothesis import given
from hypothesis import strategies as st
from pwdlib.hashers.argon2 import Argon2Hasher
from rest_api.users import common_passwords
from rest_api.users.passwords import COST, SITE, Passwords, PasswordsBusy, Verdict, _nobodys_hash, fault_of
from support.waiting import PATIENCE, until

EMAIL = "Ada.Lovelace@Example.org"


class TestTheRules:
    @pytest.mark.parametrize(
        ("password", "fault"),
        [
            pytest.param("", "must have at least 12 characters", id="empty"),
            pytest.param("eleven char", "must have at least 12 characters", id="one-too-short"),
            pytest.param("e\u0301" * 6, "must have at least 12 characters", id="six-letters-with-combining-accents"),
            pytest.param("x" * 257, "must have at most 256 characters", id="one-too-long"),
            pytest.param(" " * 12, "must not be blank", id="spaces"),
            pytest.param("\u3000" * 12, "must not be blank", id="ideographic-spaces"),
            pytest.param("Ada.Lovelace@Example.org", "must not be the e-mail address", id="the-address"),
            pytest.param("aDA.lOVELACE@eXAMPLE.ORG", "must not be the e-mail address", id="the-address-in-other-case"),
            pytest.param("  ada.lovelace@example.org ", "must not be the e-mail address", id="the-address-with-blanks"),
            pytest.param("ada.lovelace", "must not be the e-mail address", id="the-local-part"),
            pytest.param(
                "ＡＤＡ．ＬＯＶＥＬＡＣＥ", "must not be the e-mail address", id="the-local-part-in-full-width"
            ),
            pytest.param("colophoncolophon", "must not be a short piece again and again", id="a-word-twice"),
            pytest.param("aaaaaaaaaaaa", "must not be a short piece again and again", id="one-letter"),
            pytest.param("abcABCabcABC ", "must not be a short piece again and again", id="a-piece-in-any-case"),
            pytest.param("123456654321", "must not be one that many people have", id="common-digits"),
            pytest.param("123456789012", "must not be one that many people have", id="more-of-them"),
            pytest.param("password1234", "must not be one that many people have", id="a-common-word"),
            pytest.param("PassWord1234", "must not be one that many people have", id="in-any-case"),
            pytest.param("qwertyuiop12", "must not be one that many people have", id="a-row-of-keys"),
            pytest.param("motherfucker", "must not be one that many people have", id="an-oath"),
            pytest.param("correct horse\0battery", "must not contain the character U+0000", id="nul"),
            pytest.param("correct horse\nbattery", "must not contain the character U+000A", id="line-end"),
            pytest.param("correct horse \ud800", "must not contain the character U+D800", id="lone-surrogate"),
        ],
    )
    def test_say_what_is_wrong(self, password: str, fault: str) -> None:
        found = fault_of(password, EMAIL)
        assert found is not None
        assert found.startswith(fault)

    @pytest.mark.parametrize(
        "password",
        [
            pytest.param("twelve chars", id="shortest"),
            pytest.param("".join(map(chr, range(0x400, 0x500))), id="longest"),
            pytest.param("twelve chars" * 2, id="a-long-piece-again"),
            pytest.param("ada.lovelace@example.com", id="another-address"),
            pytest.param("ada.lovelace 1815", id="more-than-the-local-part"),
            pytest.param("пароль из двенадцати", id="cyrillic"),
            pytest.param("🐎🔋📎🐎🔋🔋📎📎🐎🔋🐎📎", id="emoji"),
        ],
    )
    def test_let_the_others_pass(self, password: str) -> None:
        assert fault_of(password, EMAIL) is None


class TestCommonPasswords:
    def test_are_in_order_and_each_once(self) -> None:
        digests = list(common_passwords._ALL)
        assert len(digests) > 40_000
        assert digests == sorted(set(digests))
        assert set(map(len, digests)) == {common_passwords.DIGEST_BYTES}

    def test_are_found_at_both_ends(self) -> None:
        for digest in (common_passwords._ALL[0], common_passwords._ALL[-1]):
            assert common_passwords._ALL[bisect_left(common_passwords._ALL, digest)] == digest

    @given(st.uuids().map(str))
    def test_are_not_those_that_nobody_has(self, password: str) -> None:
        assert not common_passwords.is_common(password)


@pytest.fixture
async def passwords(quick_hashing: None) -> AsyncIterator[Passwords]:
    async with Passwords() as passwords:
        yield passwords


class TestPasswords:
    async def test_tell_the_right_one(self, passwords: Passwords) -> None:
        hashed = await passwords.hash("correct horse battery")
        assert hashed.startswith("$argon2id$")
        assert await passwords.verify("correct horse battery", hashed) == (True, None)
        assert await passwords.verify("correct horse batterz", hashed) == (False, None)

    async def test_are_the_same_from_every_keyboard(self, passwords: Passwords) -> None:
        hashed = await passwords.hash("cafe\u0301 cafe\u0301 cafe\u0301")
        assert (await passwords.verify("café café café", hashed)).right

    async def test_are_never_right_without_a_hash(self, passwords: Passwords) -> None:
        assert not (await passwords.verify("", None)).right
        assert not (await passwords.verify("correct horse battery", None)).right

    @pytest.mark.parametrize(
        "password",
        [
            pytest.param("x" * 100_000, id="long"),
            pytest.param("\ud800", id="lone-surrogate"),
            pytest.param("\0", id="nul"),
        ],
    )
    async def test_that_no_rule_allows_are_wrong(self, passwords: Passwords, password: str) -> None:
        assert not (await passwords.verify(password, await passwords.hash("correct horse battery"))).right

    async def test_come_with_a_better_hash_when_theirs_is_of_an_older_make(self, passwords: Passwords) -> None:
        older = Argon2Hasher(time_cost=2, memory_cost=16, parallelism=1).hash("correct horse battery")
        right, better = await passwords.verify("correct horse battery", older)
        assert right
        assert better is not None
        assert await passwords.verify("correct horse battery", better) == (True, None)


class TestTheHashOfAUserWhoIsNotThere:
    def test_takes_as_long_to_compare_as_any_other(self) -> None:
        assert extract_parameters(_nobodys_hash(COST)) == COST

    def test_is_another_one_each_time(self) -> None:
        assert _nobodys_hash(COST) != _nobodys_hash(COST)


class TestManyAtOnce:
    async def test_of_one_site_keep_another_waiting_for_a_turn_alone(
        self, passwords: Passwords, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """500 from one place at once, and somebody who wants to sign in."""
        hashed = await passwords.hash("correct horse battery")
        verify, done, go_on = passwords._verify, [], threading.Event()

        def slowly(password: str, hashed: str | None) -> Verdict:
            assert go_on.wait(PATIENCE)
            done.append(password)
            return verify(password, hashed)

        monkeypatch.setattr(passwords, "_verify", slowly)

        async def sign_in(site: str, password: str) -> Verdict:
            SITE.set(site)
            return await passwords.verify(password, hashed)

        hostile = [asyncio.create_task(sign_in("2001:db8::/48", f"a wrong guess {n}")) for n in range(500)]
        await until(lambda: sum(task.done() for task in hostile) == 500 - 2 - 32, "the others are refused")
        honest = asyncio.create_task(sign_in("192.0.2.1", "correct horse battery"))
        await asyncio.sleep(0)
        go_on.set()
        assert await honest == (True, None)
        assert len(done) <= 2 + 1 + 1 + 1, "two were under way, one was next, one went beside"
        refused = [task for task in hostile if task.done() and task.exception() is not None]
        assert {type(task.exception()) for task in refused} == {PasswordsBusy}
        await asyncio.gather(*hostile, return_exceptions=True)


class TestHashing:
    async def test_leaves_the_event_loop_free(self) -> None:
        turns = 0

        async def heart() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.001)

        async with Passwords() as passwords, background(heart()):
            hash_ = passwords.helper.hash
            turns_during: list[int] = []

            def watched(password: str) -> str:
                before = turns
                hashed = hash_(password)
                turns_during.append(turns - before)
                return hashed

            with patch.object(passwords.helper, "hash", watched):
                await asyncio.gather(*(passwords.hash("correct horse battery") for _ in range(4)))
        # On the loop, or with the interpreter to itself, a hash leaves room for none.
        assert sum(turns_during) > len(turns_during) == 4
