"""Random calls of every public entry.

The other folders of tests mirror packages. This one mirrors nothing: one call crosses all packages, and what is tested
is a property of all of them. Every call, with good input or bad, returns a well-formed result or raises a documented
error, and changes nothing: neither the model, nor its inputs, nor the process.

``draw`` makes random values, ``models`` the models, ``prompts`` their inputs, ``settings`` policies and methods.
Modules called ``of_...`` make calls of one kind of entry; ``entries`` lists them. ``oracle`` judges a call,
``surroundings`` compares states, ``campaign`` runs calls by number and counts outcomes.
"""
