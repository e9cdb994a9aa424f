"""The usual way to write such a service: a session of the ORM and a user from the database for each request, pydantic
models in and out, commit, then publish and wait for the confirm. It may lose an event when it dies in between.

Where people differ it does the quicker thing: no access log, no `refresh` after the commit, a token that is signed with
a shared secret, tables without a check or an index besides the primary key, a page by its offset but always the first.
And it has what Colophon has: uvloop, httptools, the same driver for PostgreSQL.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Annotated
from uuid import UUID

import aio_pika
import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.baselines.serving import serve_http

_SECRET = os.environ["JWT_SECRET"]
_EXCHANGE = "usual.books"


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "usual_users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    is_active: Mapped[bool] = mapped_column(default=True)


class Book(Base):
    __tablename__ = "usual_books"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author: Mapped[str]
    publication_date: Mapped[date]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class BookIn(BaseModel):
    title: str
    author: str
    publication_date: date


class BookOut(BookIn):
    model_config = ConfigDict(from_attributes=True)

    id: int
    created_at: datetime
    updated_at: datetime


engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:"))
sessions = async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with await aio_pika.connect(os.environ["AMQP_URL"]) as connection:
        channel = await connection.channel()
        app.state.exchange = await channel.declare_exchange(_EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        yield


app = FastAPI(lifespan=lifespan)


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


async def current_user(token: Annotated[str, Depends(OAuth2PasswordBearer("login"))], session: Session) -> User:
    user = await session.get(User, UUID(jwt.decode(token, _SECRET, algorithms=["HS256"])["sub"]))
    if user is None or not user.is_active:
        raise HTTPException(401)
    return user


@app.get("/books/{book_id}", response_model=BookOut, dependencies=[Depends(current_user)])
async def get_book(book_id: int, session: Session) -> Book:
    book = await session.get(Book, book_id)
    if book is None:
        raise HTTPException(404)
    return book


@app.get("/books", response_model=list[BookOut], dependencies=[Depends(current_user)])
async def list_books(session: Session, limit: int = 100, offset: int = 0) -> list[Book]:
    return list(await session.scalars(select(Book).order_by(Book.id).limit(limit).offset(offset)))


@app.post("/books", response_model=BookOut, status_code=201, dependencies=[Depends(current_user)])
async def add_book(book_in: BookIn, session: Session) -> Book:
    now = datetime.now().astimezone()
    book = Book(**book_in.model_dump(), created_at=now, updated_at=now)
    session.add(book)
    await session.commit()
    body = BookOut.model_validate(book).model_dump_json().encode()
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await app.state.exchange.publish(message, "book.created", mandatory=False)
    return book


if __name__ == "__main__":
    serve_http(app, int(sys.argv[1]))
