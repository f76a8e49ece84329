"""Imported by the fork server of the processes in which handlers run: all of them share its Django."""

import django

django.setup()
