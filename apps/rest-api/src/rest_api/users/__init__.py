"""Those who may sign in: accounts, sign-ins, mails, and the keys that sign access tokens."""
