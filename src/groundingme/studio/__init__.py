"""The studio: a local web app to look at runs, compare models, annotate and review.

`app.create_app` puts it together; `settings.Settings` is what it may read and who may come in.
Modules of this package may import FastAPI and SQLAlchemy at their top: nobody imports them before
the studio is started.
"""
