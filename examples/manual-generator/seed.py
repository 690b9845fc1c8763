"""Adds the first manuals to an empty database. Does nothing if there are any."""

import app

FIRST_MANUALS = [
    ("Getting started", "Open the page, press New."),
    ("Printing a manual", "Press Print; choose a printer."),
    ("Sharing a manual", "Copy the link from the address line."),
]

if __name__ == "__main__":
    database = app.connect()
    with database:
        database.execute(app.SCHEMA)
        if database.execute("SELECT count(*) FROM manuals").fetchone()[0] == 0:
            database.executemany("INSERT INTO manuals (title, body) VALUES (?, ?)", FIRST_MANUALS)
            print(f"seeded {len(FIRST_MANUALS)} manuals")
        else:
            print("not empty: nothing seeded")
    database.close()
