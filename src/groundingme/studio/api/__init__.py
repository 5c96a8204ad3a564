"""The JSON API: one file a subject, each with a `router`."""
