"""Good manners: a guest on somebody's machine, who goes as soon as the owner needs it and comes back later.

`limits` is what the owner allows, `senses` what can be seen of the machine, `policies` what of it is a reason to rest, `decide`
when to rest and when to go on, `keeper` the daemon's task that does it.
"""
