-- Books by their ids
SELECT books.id, books.title, books.author, books.publication_date, books.version, books.created_at, books.updated_at
FROM books
WHERE books.id = any(%(book_ids)s::BIGINT[])

-- The version of a book
SELECT books.version
FROM books
WHERE books.id = %(book_id)s::BIGINT

-- Add books
WITH  draft AS (
    SELECT * FROM ROWS FROM (
        json_to_recordset(CAST(%(drafts)s AS json)) AS (
            title TEXT COLLATE "C", author TEXT COLLATE "C", publication_date DATE, title_words TEXT[], author_words TEXT[], actor UUID, traceparent TEXT
        )
    ) WITH ORDINALITY AS draft (title, author, publication_date, title_words, author_words, actor, traceparent, place)
), written AS (
    INSERT INTO books (title, author, publication_date, title_words, author_words, words_version)
    SELECT title, author, publication_date, title_words, author_words, 1002
    FROM draft WHERE NOT false ORDER BY place
    RETURNING id, title, author, publication_date, version, created_at, updated_at
), noted AS (
    INSERT INTO outbox (kind, actor, occurred_at, traceparent, book_id, title, author, publication_date, version, created_at, updated_at) SELECT
        'created', draft.actor, written.created_at, draft.traceparent, written.id, written.title, written.author, written.publication_date, written.version, written.created_at, written.updated_at
    FROM (SELECT *, row_number() OVER (ORDER BY id) AS place FROM written) AS written JOIN draft USING (place)
    ORDER BY id
)
SELECT id, title, author, publication_date, version, created_at, updated_at FROM written

-- Add books once for each key
WITH known AS (SELECT FROM idempotency_keys WHERE user_id = %(actor)s AND key = %(key)s AND NOT created_at <= now() - interval '24 hours'), draft AS (
    SELECT * FROM ROWS FROM (
        json_to_recordset(CAST(%(drafts)s AS json)) AS (
            title TEXT COLLATE "C", author TEXT COLLATE "C", publication_date DATE, title_words TEXT[], author_words TEXT[], actor UUID, traceparent TEXT
        )
    ) WITH ORDINALITY AS draft (title, author, publication_date, title_words, author_words, actor, traceparent, place)
), written AS (
    INSERT INTO books (title, author, publication_date, title_words, author_words, words_version)
    SELECT title, author, publication_date, title_words, author_words, 1002
    FROM draft WHERE NOT EXISTS (SELECT FROM known) ORDER BY place
    RETURNING id, title, author, publication_date, version, created_at, updated_at
), noted AS (
    INSERT INTO outbox (kind, actor, occurred_at, traceparent, book_id, title, author, publication_date, version, created_at, updated_at) SELECT
        'created', draft.actor, written.created_at, draft.traceparent, written.id, written.title, written.author, written.publication_date, written.version, written.created_at, written.updated_at
    FROM (SELECT *, row_number() OVER (ORDER BY id) AS place FROM written) AS written JOIN draft USING (place)
    ORDER BY id
) ,
remembered AS (
    INSERT INTO idempotency_keys (user_id, key, fingerprint, book_ids)
    SELECT %(actor)s, %(key)s, %(fingerprint)s, array_agg(id ORDER BY id) FROM written HAVING count(*) > 0
)
SELECT id, title, author, publication_date, version, created_at, updated_at FROM written

-- Change a book
    WITH written AS (
UPDATE books SET
    title = coalesce(%(title)s, title), author = coalesce(%(author)s, author), publication_date = coalesce(%(publication_date)s, publication_date), title_words = coalesce(%(title_words)s, title_words), author_words = coalesce(%(author_words)s, author_words),
    -- Words that another release has left behind, or folds in its own way, are found out by that they stay behind.
    words_version = CASE WHEN words_version = version * 1000 + 2
        THEN (version + 1) * 1000 + 2 ELSE words_version END,
    version = version + 1,
    updated_at = greatest(clock_timestamp(), updated_at)
WHERE id = %(book_id)s AND
(CAST(%(versions)s AS bigint[]) IS NULL OR version = ANY(CAST(%(versions)s AS bigint[])))
AND version <> ALL(CAST(%(excluded_versions)s AS bigint[]))
 RETURNING id, title, author, publication_date, version, created_at, updated_at), noted AS (
        INSERT INTO outbox (kind, actor, occurred_at, traceparent, book_id, title, author, publication_date, version, created_at, updated_at) SELECT
            'updated', %(actor)s, updated_at, %(traceparent)s, id, title, author, publication_date, version, created_at, updated_at
        FROM written ORDER BY id
    )
    SELECT id, title, author, publication_date, version, created_at, updated_at FROM written

-- Remove a book
       WITH written AS (DELETE FROM books WHERE id = %(book_id)s AND
   (CAST(%(versions)s AS bigint[]) IS NULL OR version = ANY(CAST(%(versions)s AS bigint[])))
   AND version <> ALL(CAST(%(excluded_versions)s AS bigint[]))
RETURNING id, title, author, publication_date, version, created_at, updated_at), noted AS (
           INSERT INTO outbox (kind, actor, occurred_at, traceparent, book_id, title, author, publication_date, version, created_at, updated_at) SELECT
               'deleted', %(actor)s, greatest(clock_timestamp(), updated_at), %(traceparent)s, id, title, author, publication_date, version + 1, created_at, updated_at
           FROM written ORDER BY id
       )
       SELECT id, title, author, publication_date, version + 1, created_at, updated_at FROM written

-- The first page of all books
SELECT id, title, author, publication_date, version, created_at, updated_at FROM books WHERE id > :after_id ORDER BY id ASC LIMIT :at_most

-- Export as CSV
COPY (SELECT id AS id, title AS title, author AS author, publication_date AS publication_date, version AS version, created AS created_at, CASE updated_at WHEN created_at THEN created ELSE replace(to_char(updated_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000', '') END AS updated_at FROM books CROSS JOIN LATERAL (SELECT replace(to_char(created_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000', '') AS created OFFSET 0) AS written  ORDER BY id) TO STDOUT (FORMAT csv, HEADER)

-- Export as NDJSON
COPY (SELECT '{"id":' || id || ',"title":' || to_json(title) || ',"author":' || to_json(author) || ',"publication_date":"' || publication_date || '","version":' || version || ',"created_at":"' || created || '","updated_at":"' || CASE updated_at WHEN created_at THEN created ELSE replace(to_char(updated_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000', '') END || '"}' FROM books CROSS JOIN LATERAL (SELECT replace(to_char(created_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000', '') AS created OFFSET 0) AS written  ORDER BY id) TO STDOUT (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')

-- Record events
WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(7214508363))
INSERT INTO event_log (event_id, kind, actor, occurred_at, book_id, title, author, publication_date, version, created_at, updated_at)
SELECT event_id, kind, actor, occurred_at, book_id, title, author, publication_date, version, created_at, updated_at
FROM turn CROSS JOIN ROWS FROM (
    json_to_recordset(CAST(%(events)s AS json)) AS (event_id UUID, kind TEXT, actor TEXT, occurred_at TIMESTAMP WITH TIME ZONE, book_id BIGINT, title TEXT, author TEXT, publication_date DATE, version BIGINT, created_at TIMESTAMP WITH TIME ZONE, updated_at TIMESTAMP WITH TIME ZONE)
) WITH ORDINALITY AS event (event_id, kind, actor, occurred_at, book_id, title, author, publication_date, version, created_at, updated_at, place)
ORDER BY place
ON CONFLICT (event_id) DO NOTHING
RETURNING event_id, position

