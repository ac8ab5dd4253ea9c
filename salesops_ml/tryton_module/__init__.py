"""The Tryton module `salesops_scores`: six fields for scores on sale opportunities.

It is not imported by anything here: a Tryton server loads it, by the entry point `trytond.modules`, or
from a copy of this folder as `trytond/modules/salesops_scores`. It needs nothing but Tryton.

It runs inside trytond, which is GPL-3.0-or-later: whoever passes on a Tryton server with this module
in it passes both on under that licence. The rest of this package talks to such a server over HTTP only.
"""
