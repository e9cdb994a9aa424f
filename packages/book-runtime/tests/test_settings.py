import os
from pathlib import Path
from typing import Literal, Self

import pytest
from book_runtime.settings import AmqpUrl, ExistingFile, Port, PostgresUrl, RedisUrl, Settings, SettingsError, Url, load
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr, TypeAdapter, ValidationError, model_validator


class ShopSettings(Settings):
    database_url: PostgresUrl
    """Where the shop's goods are."""
    cache_url: RedisUrl | None = None
    """Where the cache is; not set: no cache."""
    port: Port = 8000
    """Where the shop listens."""
    greeting: str = Field("hello", max_length=10, examples=["hello", "moin"])
    mode: Literal["open", "closed"] = "open"
    api_key: SecretStr = Field(SecretStr("a-default-for-this-test"), min_length=12)
    """What the supplier gave."""


GOOD = {"DATABASE_URL": "postgresql://shop:pw@localhost/shop"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with nothing in it."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    return monkeypatch


def put(environment: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)


def message_of(settings: type[Settings]) -> str:
    with pytest.raises(SettingsError) as refused:
        load(settings)
    return str(refused.value)


class TestLoading:
    def test_takes_variables_without_a_prefix_in_any_case(self, environment: pytest.MonkeyPatch) -> None:
        put(environment, **GOOD, port="9000", Greeting="moin", UNRELATED="1")
        settings = load(ShopSettings)
        assert (settings.port, settings.greeting) == (9000, "moin")

    def test_an_empty_variable_counts_as_not_set(self, environment: pytest.MonkeyPatch) -> None:
        put(environment, **GOOD, CACHE_URL="", PORT="")
        settings = load(ShopSettings)
        assert (settings.cache_url, settings.port) == (None, 8000)

    def test_what_is_known_already_goes_before_the_environment(self, environment: pytest.MonkeyPatch) -> None:
        put(environment, **GOOD)
        own = "postgresql://postgres@/postgres?host=/tmp/pg"
        assert load(ShopSettings, database_url=own).database_url == own

    def test_no_env_file_is_read(self, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("DATABASE_URL=postgresql://u:p@h/d\n")
        environment.chdir(tmp_path)
        assert "DATABASE_URL" in message_of(ShopSettings)

    def test_settings_cannot_be_changed_later(self, environment: pytest.MonkeyPatch) -> None:
        put(environment, **GOOD)
        settings = load(ShopSettings)
        with pytest.raises(ValidationError):
            settings.port = 1


class TestTheMessage:
    def test_names_every_wrong_variable_at_once_and_what_would_do(self, environment: pytest.MonkeyPatch) -> None:
        put(environment, CACHE_URL="http://cache", PORT="eighty", GREETING="good morning", MODE="ajar")
        assert message_of(ShopSettings) == (
            "The environment is not as it must be.\n"
            "  DATABASE_URL: is not set\n"
            "      Where the shop's goods are, for example postgresql://user:password@localhost:5432/database\n"
            "  CACHE_URL: it must start with redis:// or rediss:// or unix://\n"
            "      Where the cache is; not set: no cache, for example redis://:password@localhost:6379/0\n"
            "  PORT: should be a valid integer, unable to parse string as an integer\n"
            "      Where the shop listens\n"
            "  GREETING: String should have at most 10 characters\n"
            "      for example hello or moin\n"
            "  MODE: should be 'open' or 'closed'"
        )

    def test_names_a_variable_once_however_many_types_it_may_have(self, environment: pytest.MonkeyPatch) -> None:
        class Several(Settings):
            limit: int | bool = 1

        put(environment, LIMIT="some")
        assert message_of(Several).count("LIMIT") == 1

    def test_names_a_list_that_is_none_beside_the_others(self, environment: pytest.MonkeyPatch) -> None:
        class Lists(Settings):
            names: list[str]
            port: Port = 1

        put(environment, NAMES="[1", PORT="x")
        message = message_of(Lists)
        assert "NAMES: should be a valid list" in message
        assert "PORT: " in message

    def test_says_what_is_wrong_between_two_variables(self, environment: pytest.MonkeyPatch) -> None:
        class Pair(Settings):
            low: int = 2
            high: int = 1

            @model_validator(mode="after")
            def in_order(self) -> Self:
                if self.low > self.high:
                    raise ValueError("LOW must not be above HIGH")
                return self

        assert message_of(Pair).endswith("\n  LOW must not be above HIGH")

    def test_names_a_variable_by_its_alias(self) -> None:
        class Renamed(Settings):
            where: PostgresUrl = Field(validation_alias="shop_database", description="Where it is.")

        assert "SHOP_DATABASE: is not set\n      Where it is, for example" in message_of(Renamed)

    def test_gives_the_problems_one_by_one(self, environment: pytest.MonkeyPatch) -> None:
        put(environment, PORT="-1")
        with pytest.raises(SettingsError) as refused:
            load(ShopSettings)
        assert [problem.variable for problem in refused.value.problems] == ["DATABASE_URL", "PORT"]


SECRET = "hunter2-hunter2"


class TestSecrets:
    @pytest.mark.parametrize(
        "variables",
        [
            pytest.param({"DATABASE_URL": f"mysql://shop:{SECRET}@localhost/shop"}, id="other-scheme"),
            pytest.param({"DATABASE_URL": f"postgresql://shop:#{SECRET}@localhost/shop"}, id="hash-in-the-password"),
            pytest.param({"DATABASE_URL": f"postgresql://shop:/{SECRET}@localhost/shop"}, id="slash-in-the-password"),
            pytest.param({"DATABASE_URL": f"postgresql://shop:1/{SECRET}@localhost/shop"}, id="slash-after-a-number"),
            pytest.param({"DATABASE_URL": f"postgresql://[{SECRET}"}, id="a-bracket-left-open"),
            pytest.param({"DATABASE_URL": SECRET}, id="the-password-alone"),
            pytest.param({"CACHE_URL": f"redis://:{SECRET}@localhost:port"}, id="no-port"),
            pytest.param({"API_KEY": SECRET[:7]}, id="a-key-that-is-too-short"),
            pytest.param({"GREETING": SECRET}, id="a-secret-in-the-wrong-place"),
            pytest.param({"PORT": SECRET}, id="a-secret-as-a-number"),
            pytest.param({"MODE": SECRET}, id="a-secret-as-a-choice"),
        ],
    )
    def test_never_appear_in_the_message(self, environment: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
        put(environment, **GOOD | variables)
        with pytest.raises(SettingsError) as refused:
            load(ShopSettings)
        assert "hunter2" not in repr(refused.value)
        assert next(iter(variables)) in str(refused.value)
        assert (refused.value.__cause__, refused.value.__context__) == (None, None)

    def test_never_appear_when_a_key_stands_where_its_file_belongs(self, environment: pytest.MonkeyPatch) -> None:
        class Keys(Settings):
            key_file: ExistingFile

        put(environment, KEY_FILE="-----BEGIN PRIVATE KEY-----\n" + SECRET * 500)
        assert "hunter2" not in message_of(Keys)

    def test_never_appear_in_what_settings_look_like(self, environment: pytest.MonkeyPatch) -> None:
        put(
            environment,
            DATABASE_URL=f"postgresql://shop:{SECRET}@localhost/shop?password={SECRET}",
            CACHE_URL=f"redis://:{SECRET}@localhost",
            API_KEY=SECRET,
        )
        settings = load(ShopSettings)
        assert "hunter2" not in repr(settings) + str(settings)
        assert "postgresql://shop:***@localhost/shop" in repr(settings)

    def test_never_appear_when_settings_are_made_without_load(self, environment: pytest.MonkeyPatch) -> None:
        put(environment, PORT=SECRET)
        with pytest.raises(ValidationError) as refused:
            ShopSettings()  # type: ignore[call-arg]  # the environment has the rest
        assert "hunter2" not in str(refused.value)


def accepts(url: type[Url], text: str) -> bool:
    try:
        taken = TypeAdapter(url).validate_python(text)
    except ValidationError:
        return False
    assert taken == text
    assert type(taken) is url
    return True


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "text"),
        [
            pytest.param(PostgresUrl, "postgresql://u:p%23@h:5432/d?sslmode=require", id="everything"),
            pytest.param(PostgresUrl, "postgres://h/d", id="short-scheme"),
            pytest.param(PostgresUrl, "postgresql+psycopg://h/d", id="with-driver"),
            pytest.param(PostgresUrl, "postgresql://postgres:@/postgres?host=/tmp/pg", id="through-a-socket"),
            pytest.param(PostgresUrl, "postgresql://u@[::1]:5432/d", id="ipv6"),
            pytest.param(PostgresUrl, "postgresql://u:p@a:5432,b:5433/d", id="two-hosts"),
            pytest.param(PostgresUrl, "postgresql://u:p@a,[::1]:5433,c?sslmode=require", id="three-of-all-forms"),
            pytest.param(AmqpUrl, "amqp://guest:guest@localhost/", id="default-vhost"),
            pytest.param(AmqpUrl, "amqps://h:5671/%2Fbooks?heartbeat=10", id="tls-and-vhost"),
            pytest.param(RedisUrl, "rediss://user:p@h:6380/1", id="tls"),
            pytest.param(RedisUrl, "unix:///run/redis.sock?db=0", id="redis-through-a-socket"),
            *(
                pytest.param(url, url.example, id=f"example-of-{url.__name__}")
                for url in (PostgresUrl, AmqpUrl, RedisUrl)
            ),
        ],
    )
    def test_that_are_in_order_stay_as_they_are(self, url: type[Url], text: str) -> None:
        assert accepts(url, text)

    @pytest.mark.parametrize(
        ("url", "text"),
        [
            pytest.param(PostgresUrl, "", id="empty"),
            pytest.param(PostgresUrl, "localhost:5432/d", id="no-scheme"),
            pytest.param(PostgresUrl, "mysql://h/d", id="other-database"),
            pytest.param(PostgresUrl, "postgresql:/h/d", id="one-slash"),
            pytest.param(PostgresUrl, " postgresql://h/d", id="leading-blank"),
            pytest.param(PostgresUrl, "postgresql://h/d\n", id="line-end-from-a-file"),
            pytest.param(PostgresUrl, "postgresql://h\0/d", id="nul"),
            pytest.param(PostgresUrl, "postgresql://h:99999/d", id="port-too-high"),
            pytest.param(PostgresUrl, "postgresql://h:x/d", id="port-is-no-number"),
            pytest.param(PostgresUrl, "postgresql://h:1,g:x/d", id="second-port-is-no-number"),
            pytest.param(PostgresUrl, "postgresql://u:a/b@h,g/d", id="slash-in-the-password-of-two-hosts"),
            pytest.param(PostgresUrl, "postgresql://u:a/b@h/d", id="slash-in-the-password"),
            pytest.param(AmqpUrl, "amqp://", id="no-host"),
            pytest.param(AmqpUrl, "amqp://u:p@:5672/", id="no-host-but-a-port"),
            pytest.param(AmqpUrl, "http://h:15672/", id="the-management-page"),
            pytest.param(RedisUrl, "redis://h:port", id="redis-port-is-no-number"),
        ],
    )
    def test_that_are_not_are_refused(self, url: type[Url], text: str) -> None:
        assert not accepts(url, text)

    @given(st.text())
    def test_anything_is_taken_or_refused(self, text: str) -> None:
        accepts(PostgresUrl, text)
        accepts(AmqpUrl, f"amqp://{text}")

    @given(password=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=8))
    def test_a_password_does_not_show(self, password: str) -> None:
        url = AmqpUrl(f"amqp://u:zz{password}zz@h/")
        assert f"zz{password}zz" in str(url)
        assert f"zz{password}zz" not in repr(url)


class TestExistingFile:
    def check(self, path: Path) -> str:
        try:
            TypeAdapter(ExistingFile).validate_python(str(path))
        except ValidationError as error:
            return error.errors()[0]["msg"].removeprefix("Value error, ")
        return "taken"

    def test_is_there(self, tmp_path: Path) -> None:
        (tmp_path / "key.pem").write_text("key")
        assert self.check(tmp_path / "key.pem") == "taken"
        assert self.check(tmp_path / "other.pem") == "there is no such file"
        assert self.check(tmp_path) == "it is not a file"

    def test_can_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "key.pem").write_text("key")
        monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
        assert self.check(tmp_path / "key.pem") == "this process may not read that file"


class TestPort:
    @pytest.mark.parametrize(
        ("text", "taken"),
        [
            pytest.param("0", True, id="any-free-one"),
            pytest.param("65535", True, id="highest"),
            pytest.param("65536", False, id="too-high"),
            pytest.param("-1", False, id="negative"),
            pytest.param("80.5", False, id="fraction"),
        ],
    )
    def test_is_a_port(self, text: str, taken: bool) -> None:
        try:
            TypeAdapter(Port).validate_python(text)
        except ValidationError:
            assert not taken
        else:
            assert taken
