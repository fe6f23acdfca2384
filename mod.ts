/**
 * The library face of denocni: describe networks, attach containers, write
 * plugins of your own.
 *
 * @module
 */
