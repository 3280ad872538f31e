"""Reading real radiographs: files, tags, tone and geometry, with a record of every decision."""
