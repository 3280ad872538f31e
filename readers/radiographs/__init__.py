"""Read films and DRRs from files, with a record of every decision."""
