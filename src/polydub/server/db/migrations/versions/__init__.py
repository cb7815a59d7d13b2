"""Steps from one set of tables to the next. A step that has been released is never changed."""
