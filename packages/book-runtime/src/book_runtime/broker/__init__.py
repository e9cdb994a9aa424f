"""Messages between processes behind one small port: `ports` says what holds, `amqp` and `local` are ways to have it."""
