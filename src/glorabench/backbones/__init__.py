"""Pretrained networks and the roles of their layers; knows no method."""
