"""What our API is compared with: Django as `startproject` makes it, REST framework and simplejwt by their guides."""
