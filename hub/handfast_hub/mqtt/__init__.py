"""The hub's side of MQTT.

ingress  connection    the hub as a client of a broker, acknowledging by hand
embedded  guard  plugin    a broker in the hub's own process
mosquitto    the files for a Mosquitto of your own
"""
