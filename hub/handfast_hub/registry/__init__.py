"""Everything that speaks SQL: what the hub knows, on the disk before it is true.

registry    the hub's face of it       operator    the operator's
group       one thread, one transaction for all that waits
enrolment  delivery  traffic  decisions  tokens  lease    one transaction each, and their items
reads  statements  keys    what several of them share
engine  schema  migrations    which database, which tables, how they came to be
check  backup    for the commands of these names
"""
