"""The data layer of Colophon: models, migrations, SQL, the read-through cache and the outbox."""
