"""The mail that everybody sends."""

TEXT = "Dear customer,\n\nthank you for your order. It will be on its way tomorrow.\n\nYour shop\n"
