"""The database backend: settings name this package, Django loads its module `base`."""
