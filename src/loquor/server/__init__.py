"""One model served to many: a core that knows no protocol, and a file of routes for every protocol beside it."""
