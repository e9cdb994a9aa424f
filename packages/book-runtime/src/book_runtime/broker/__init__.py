"""Messages between processes behind one small seam: `seam` says what holds, `amqp` and `local` are ways to have it."""
