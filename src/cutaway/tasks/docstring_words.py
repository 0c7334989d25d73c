"""The functions and docstrings of the docstring task: data and strings only, all our own.

Every template is a def with four named arguments, and a docstring in reST or Epydoc form that has
described two of them and announces the next one. Something stands before the first argument, so
that each name has a space before it.
"""

from __future__ import annotations

from .sentences import Template, words


def _template(id: str, first: str, summary: str, tag: str) -> Template:
    head = f"def {{function}}({first}, {{a}}, {{b}}, {{c}}, {{d}}):"
    lines = (
        f'    """{summary}',
        "",
        f"    {tag} {{a_doc}}: {{w1}} {{w2}}",
        f"    {tag} {{b_doc}}: {{w3}} {{w4}}",
        f"    {tag}",
    )
    return Template(id, "\n".join((head, *lines)))


TEMPLATES = (
    _template("method-param", "self", "Put the parts of one order together.", ":param"),
    _template("method-arg", "self", "Bring the list up to date.", ":arg"),
    _template("method-epydoc", "self", "Write down what was seen.", "@param"),
    _template("class-param", "cls", "Start again from the last good state.", ":param"),
    _template("keyword-param", "*", "Look up one entry and show it.", ":param"),
    _template("keyword-epydoc", "*", "Send the result to whoever asked.", "@param"),
)
FUNCTIONS = words("""
    load save send read write move copy merge split draw print build check find open close update
    remove create join sort search convert render collect measure train store replace insert
    """)
ARGUMENTS = words("""
    path text width height color price weight speed limit count index total start end source target
    folder image table key value role title label message status format style mode level depth size
    shape scale angle offset length margin border column page date month year city street phone
    number order map graph edge parent owner reader writer buffer stream signal channel port client
    session header method filter pattern rule score rate ratio step batch seed loss layer input
    output bias mask noise
    """)
DESCRIPTIONS = words("""
    old new small red fast empty cold warm main final local public quick heavy round daily simple
    early stone river wooden green market music water garden bread paper winter summer coffee silver
    evening bridge window camera ticket story basket morning engine ocean
    """)
