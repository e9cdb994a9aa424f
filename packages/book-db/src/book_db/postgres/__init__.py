"""PostgreSQL: connections, what their failures mean, and how processes hear of each other through it."""
